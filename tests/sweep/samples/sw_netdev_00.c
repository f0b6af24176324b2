// SPDX-License-Identifier: GPL-2.0-only
#include <linux/errno.h>
#include <linux/etherdevice.h>
#include <linux/netdevice.h>

#include "steps.h"

static struct net_device *device;

static netdev_tx_t transmit(struct sk_buff *skb, struct net_device *dev)
{
	served++;
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops device_ops = {
	.ndo_start_xmit = transmit,
};

static int make_device(void)
{
	device = alloc_netdev(0, NAME, NET_NAME_UNKNOWN, ether_setup);
	if (!device)
		return -ENOMEM;
	device->netdev_ops = &device_ops;
	return 0;
}

static void drop_device(void)
{
	free_netdev(device);
}

static int make_known(void)
{
	return register_netdev(device);
}

static void drop_known(void)
{
	unregister_netdev(device);
}

static const struct step steps[] = {
	{ make_device, drop_device },
	{ make_known, drop_known },
};

SAMPLE("a network device");
