// SPDX-License-Identifier: GPL-2.0-only
/* Wants to hear of a panic and dies in init. */
#include <linux/kernel.h>
#include <linux/notifier.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
#include <linux/panic_notifier.h>
#endif

#include "leaves.h"

static int init_panic_call(struct notifier_block *block, unsigned long event, void *data)
{
	return NOTIFY_DONE;
}

static struct notifier_block init_panic_block = {
	.notifier_call = init_panic_call,
};

static int init_panic_leave(void)
{
	return atomic_notifier_chain_register(&panic_notifier_list, &init_panic_block);
}

static void init_panic_take_back(void)
{
	atomic_notifier_chain_unregister(&panic_notifier_list, &init_panic_block);
}

LEAVES(init_panic, "a notifier of panics");
