// SPDX-License-Identifier: GPL-2.0-only
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/version.h>

#include "steps.h"

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
#define kill_litter_super kill_anon_super
#endif

static int fill(struct super_block *superblock, struct fs_context *context)
{
	static const struct tree_descr files[] = { { "" } };

	served++;
	return simple_fill_super(superblock, 0x6c616200, files);
}

static int get_tree(struct fs_context *context)
{
	return get_tree_nodev(context, fill);
}

static const struct fs_context_operations context_ops = {
	.get_tree = get_tree,
};

static int begin(struct fs_context *context)
{
	context->ops = &context_ops;
	return 0;
}

static struct file_system_type kind = {
	.owner = THIS_MODULE,
	.name = NAME,
	.init_fs_context = begin,
	.kill_sb = kill_litter_super,
};

static int make(void)
{
	return register_filesystem(&kind);
}

static void take_back(void)
{
	unregister_filesystem(&kind);
}

static const struct step steps[] = {
	{ make, take_back },
};

SAMPLE("a file system");
