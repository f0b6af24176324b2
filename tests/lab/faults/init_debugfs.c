// SPDX-License-Identifier: GPL-2.0-only
/* Makes the file init_debugfs in debugfs and dies in init. */
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>

#include "leaves.h"

static struct dentry *file;

static ssize_t init_debugfs_read(struct file *opened, char __user *to, size_t size, loff_t *at)
{
	return simple_read_from_buffer(to, size, at, "lab\n", 4);
}

static const struct file_operations init_debugfs_fops = {
	.owner = THIS_MODULE,
	.read = init_debugfs_read,
};

static int init_debugfs_leave(void)
{
	file = debugfs_create_file("init_debugfs", 0444, NULL, NULL, &init_debugfs_fops);
	return PTR_ERR_OR_ZERO(file);
}

static void init_debugfs_take_back(void)
{
	debugfs_remove(file);
}

LEAVES(init_debugfs, "a file in debugfs made");
