// SPDX-License-Identifier: GPL-2.0-only
/* Takes a reference for its function, which a process in polls has in a register alone. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

#include "polls.h"

static int calls;
module_param(calls, int, 0444);

static void polled_call(void)
{
	calls++;
}

static int __init polled_init(void)
{
	__module_get(THIS_MODULE);
	polls_take(polled_call);
	return 0;
}

static void __exit polled_exit(void)
{
}

module_init(polled_init);
module_exit(polled_exit);
MODULE_DESCRIPTION("Fault: called by a process that polls");
MODULE_LICENSE("GPL");
