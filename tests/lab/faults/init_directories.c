// SPDX-License-Identifier: GPL-2.0-only
/* Makes /proc/init_directories/value and the same in debugfs, and dies in init. */
#include <linux/debugfs.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "leaves.h"

static struct proc_dir_entry *in_proc;
static struct dentry *in_debugfs;

static ssize_t init_directories_read(struct file *opened, char __user *to, size_t size, loff_t *at)
{
	return simple_read_from_buffer(to, size, at, "lab\n", 4);
}

static const struct file_operations init_directories_fops = {
	.owner = THIS_MODULE,
	.read = init_directories_read,
};

static int init_directories_show(struct seq_file *file, void *unused)
{
	seq_puts(file, "lab\n");
	return 0;
}

static int init_directories_leave(void)
{
	in_proc = proc_mkdir("init_directories", NULL);
	if (!in_proc)
		return -ENOMEM;
	if (!proc_create_single("value", 0444, in_proc, init_directories_show)) {
		proc_remove(in_proc);
		return -ENOMEM;
	}
	in_debugfs = debugfs_create_dir("init_directories", NULL);
	debugfs_create_file("value", 0444, in_debugfs, NULL, &init_directories_fops);
	return 0;
}

static void init_directories_take_back(void)
{
	debugfs_remove_recursive(in_debugfs);
	proc_remove(in_proc);
}

LEAVES(init_directories, "directories in /proc and debugfs made");
