// SPDX-License-Identifier: GPL-2.0-only
/* Wants to hear of modules and dies in init. */
#include <linux/notifier.h>

#include "leaves.h"

static int init_modnotifier_call(struct notifier_block *block, unsigned long event, void *data)
{
	return NOTIFY_DONE;
}

static struct notifier_block init_modnotifier_block = {
	.notifier_call = init_modnotifier_call,
};

static int init_modnotifier_leave(void)
{
	return register_module_notifier(&init_modnotifier_block);
}

static void init_modnotifier_take_back(void)
{
	unregister_module_notifier(&init_modnotifier_block);
}

LEAVES(init_modnotifier, "a notifier of modules");
