// SPDX-License-Identifier: GPL-2.0-only
#include <linux/errno.h>
#include <linux/sysctl.h>
#include <linux/version.h>

#include "steps.h"

static int value = 7;
static struct ctl_table_header *header;

static struct ctl_table table[] = {
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

static int make(void)
{
	header = register_sysctl(NAME, table);
	return header ? 0 : -ENOMEM;
}

static void take_back(void)
{
	unregister_sysctl_table(header);
}

static const struct step steps[] = {
	{ make, take_back },
};

SAMPLE("a sysctl");
