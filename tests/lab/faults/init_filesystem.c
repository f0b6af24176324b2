// SPDX-License-Identifier: GPL-2.0-only
/* Registers a file system and dies in init. */
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>

#include "dies.h"

struct fs_context;

static int init_filesystem_context(struct fs_context *context)
{
	return -ENODEV;
}

static struct file_system_type init_filesystem_type = {
	.owner = THIS_MODULE,
	.name = "lab_filesystem",
	.init_fs_context = init_filesystem_context,
	.kill_sb = kill_anon_super,
};

static int __init init_filesystem_init(void)
{
	int error = register_filesystem(&init_filesystem_type);

	return error ? error : dies();
}

static void __exit init_filesystem_exit(void)
{
	dies_late();
	unregister_filesystem(&init_filesystem_type);
}

module_init(init_filesystem_init);
module_exit(init_filesystem_exit);
MODULE_DESCRIPTION("Fault: dies in init with a file system registered");
MODULE_LICENSE("GPL");
