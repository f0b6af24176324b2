// SPDX-License-Identifier: GPL-2.0-only
/* Makes /proc/sys/init_sysctl/value and dies in init. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/sysctl.h>
#include <linux/version.h>

#include "leaves.h"

static int value = 7;

static struct ctl_table init_sysctl_table[] = {
	{
		.procname = "value",
		.data = &value,
		.maxlen = sizeof(value),
		.mode = 0644,
		.proc_handler = proc_dointvec,
	},
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
	{ }
#endif
};

static struct ctl_table_header *header;

static int init_sysctl_leave(void)
{
	header = register_sysctl("init_sysctl", init_sysctl_table);
	return header ? 0 : -ENOMEM;
}

static void init_sysctl_take_back(void)
{
	unregister_sysctl_table(header);
}

LEAVES(init_sysctl, "a sysctl made");
