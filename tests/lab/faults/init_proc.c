// SPDX-License-Identifier: GPL-2.0-only
/* Makes the seq file /proc/init_proc and dies in init. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "leaves.h"

static int init_proc_show(struct seq_file *file, void *unused)
{
	seq_puts(file, "lab\n");
	return 0;
}

static int init_proc_leave(void)
{
	return proc_create_single("init_proc", 0444, NULL, init_proc_show) ? 0 : -ENOMEM;
}

static void init_proc_take_back(void)
{
	remove_proc_entry("init_proc", NULL);
}

LEAVES(init_proc, "a file in /proc made");
