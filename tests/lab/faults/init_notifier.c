// SPDX-License-Identifier: GPL-2.0-only
/* Adds a reboot notifier and dies in init. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/reboot.h>

#include "dies.h"

static int init_notifier_call(struct notifier_block *block, unsigned long event,
			      void *data)
{
	return NOTIFY_DONE;
}

static struct notifier_block init_notifier_block = {
	.notifier_call = init_notifier_call,
};

static int __init init_notifier_init(void)
{
	int error = register_reboot_notifier(&init_notifier_block);

	return error ? error : dies();
}

static void __exit init_notifier_exit(void)
{
	dies_late();
	unregister_reboot_notifier(&init_notifier_block);
}

module_init(init_notifier_init);
module_exit(init_notifier_exit);
MODULE_DESCRIPTION("Fault: dies in init with a notifier added");
MODULE_LICENSE("GPL");
