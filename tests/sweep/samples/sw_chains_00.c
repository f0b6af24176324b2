// SPDX-License-Identifier: GPL-2.0-only
#include <linux/netdevice.h>
#include <linux/notifier.h>
#include <linux/reboot.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
#include <linux/panic_notifier.h>
#endif

#include "steps.h"

static int called(struct notifier_block *block, unsigned long event, void *data)
{
	served++;
	return NOTIFY_DONE;
}

static struct notifier_block of_panic = { .notifier_call = called };
static struct notifier_block of_reboot = { .notifier_call = called };
static struct notifier_block of_devices = { .notifier_call = called };

static int make_panic(void)
{
	return atomic_notifier_chain_register(&panic_notifier_list, &of_panic);
}

static void drop_panic(void)
{
	atomic_notifier_chain_unregister(&panic_notifier_list, &of_panic);
}

static int make_reboot(void)
{
	return register_reboot_notifier(&of_reboot);
}

static void drop_reboot(void)
{
	unregister_reboot_notifier(&of_reboot);
}

static int make_devices(void)
{
	return register_netdevice_notifier(&of_devices);
}

static void drop_devices(void)
{
	unregister_netdevice_notifier(&of_devices);
}

static const struct step steps[] = {
	{ make_panic, drop_panic },
	{ make_reboot, drop_reboot },
	{ make_devices, drop_devices },
};

SAMPLE("notifiers of an atomic, a blocking and the network's chain");
