// SPDX-License-Identifier: GPL-2.0-only
/* Makes /proc/init_proc_ops, with operations of its own, and dies in init. */
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/proc_fs.h>

#include "leaves.h"

static ssize_t init_proc_ops_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	return simple_read_from_buffer(to, size, at, "lab\n", 4);
}

static const struct proc_ops init_proc_ops_ops = {
	.proc_read = init_proc_ops_read,
};

static int init_proc_ops_leave(void)
{
	return proc_create("init_proc_ops", 0444, NULL, &init_proc_ops_ops) ? 0 : -ENOMEM;
}

static void init_proc_ops_take_back(void)
{
	remove_proc_entry("init_proc_ops", NULL);
}

LEAVES(init_proc_ops, "a file in /proc made");
