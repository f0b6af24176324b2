// SPDX-License-Identifier: GPL-2.0-only
/* A file system that names no owner; a process is in it, and it is mounted nowhere any more. */
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/init.h>
#include <linux/module.h>

static int mount_unowned_fill(struct super_block *super, struct fs_context *context)
{
	static const struct tree_descr files[] = { { "" } };

	return simple_fill_super(super, 0x4c414255, files);
}

static int mount_unowned_tree(struct fs_context *context)
{
	return get_tree_nodev(context, mount_unowned_fill);
}

static const struct fs_context_operations mount_unowned_ops = {
	.get_tree = mount_unowned_tree,
};

static int mount_unowned_context(struct fs_context *context)
{
	context->ops = &mount_unowned_ops;
	return 0;
}

static struct file_system_type mount_unowned_type = {
	.name = "mount_unowned",
	.init_fs_context = mount_unowned_context,
	.kill_sb = kill_anon_super,
};

static int __init mount_unowned_init(void)
{
	return register_filesystem(&mount_unowned_type);
}

static void __exit mount_unowned_exit(void)
{
	unregister_filesystem(&mount_unowned_type);
}

module_init(mount_unowned_init);
module_exit(mount_unowned_exit);
MODULE_DESCRIPTION("Fault: a file system without owner, in use");
MODULE_LICENSE("GPL");
