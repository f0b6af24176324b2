// SPDX-License-Identifier: GPL-2.0-only
/* A file system, used_mount, that is mounted in another mount namespace alone. */
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/init.h>
#include <linux/module.h>

static int used_mount_fill(struct super_block *super, struct fs_context *context)
{
	static const struct tree_descr files[] = { { "" } };

	return simple_fill_super(super, 0x4c414255, files);
}

static int used_mount_tree(struct fs_context *context)
{
	return get_tree_nodev(context, used_mount_fill);
}

static const struct fs_context_operations used_mount_ops = {
	.get_tree = used_mount_tree,
};

static int used_mount_context(struct fs_context *context)
{
	context->ops = &used_mount_ops;
	return 0;
}

static struct file_system_type used_mount_type = {
	.owner = THIS_MODULE,
	.name = "used_mount",
	.init_fs_context = used_mount_context,
	.kill_sb = kill_anon_super,
};

static int __init used_mount_init(void)
{
	return register_filesystem(&used_mount_type);
}

static void __exit used_mount_exit(void)
{
	unregister_filesystem(&used_mount_type);
}

module_init(used_mount_init);
module_exit(used_mount_exit);
MODULE_DESCRIPTION("No fault: a file system mounted in another namespace");
MODULE_LICENSE("GPL");
