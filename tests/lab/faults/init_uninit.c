// SPDX-License-Identifier: GPL-2.0-only
/* Registers a network device that crashes where it is taken back, and dies in init. */
#include <linux/errno.h>
#include <linux/etherdevice.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/netdevice.h>

#include "leaves.h"

static struct net_device *device;

static netdev_tx_t init_uninit_transmit(struct sk_buff *skb, struct net_device *dev)
{
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

/* What it needs was to be made ready later in init. */
static void init_uninit_uninit(struct net_device *dev)
{
	dies_if(true);
}

static const struct net_device_ops init_uninit_ops = {
	.ndo_start_xmit = init_uninit_transmit,
	.ndo_uninit = init_uninit_uninit,
};

static int init_uninit_leave(void)
{
	int error;

	device = alloc_netdev(0, "labu%d", NET_NAME_UNKNOWN, ether_setup);
	if (!device)
		return -ENOMEM;
	device->netdev_ops = &init_uninit_ops;
	error = register_netdev(device);
	if (error)
		free_netdev(device);
	return error;
}

static void init_uninit_take_back(void)
{
	unregister_netdev(device);
	free_netdev(device);
}

LEAVES(init_uninit, "a network device that cannot be taken back");
