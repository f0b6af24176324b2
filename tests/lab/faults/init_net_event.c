// SPDX-License-Identifier: GPL-2.0-only
/* Wants to be told of each network device, and dies in init. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/notifier.h>

#include "leaves.h"

/* unregister_netdevice_notifier() would tell it so of each device that is up. */
static int init_net_event_call(struct notifier_block *block, unsigned long event, void *data)
{
	dies_if(event == NETDEV_GOING_DOWN);
	return NOTIFY_DONE;
}

static struct notifier_block init_net_event_block = {
	.notifier_call = init_net_event_call,
};

static int init_net_event_leave(void)
{
	return register_netdevice_notifier(&init_net_event_block);
}

static void init_net_event_take_back(void)
{
	unregister_netdevice_notifier(&init_net_event_block);
}

LEAVES(init_net_event, "network devices watched");
