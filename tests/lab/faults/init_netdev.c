// SPDX-License-Identifier: GPL-2.0-only
/* Registers a network device, lab0, and dies in init. */
#include <linux/errno.h>
#include <linux/etherdevice.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/netdevice.h>

#include "dies.h"

static struct net_device *device;

static netdev_tx_t init_netdev_transmit(struct sk_buff *skb, struct net_device *dev)
{
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops init_netdev_ops = {
	.ndo_start_xmit = init_netdev_transmit,
};

static int __init init_netdev_init(void)
{
	int error;

	device = alloc_netdev(0, "lab%d", NET_NAME_UNKNOWN, ether_setup);
	if (!device)
		return -ENOMEM;
	device->netdev_ops = &init_netdev_ops;
	error = register_netdev(device);
	if (error) {
		free_netdev(device);
		return error;
	}
	return dies();
}

static void __exit init_netdev_exit(void)
{
	dies_late();
	unregister_netdev(device);
	free_netdev(device);
}

module_init(init_netdev_init);
module_exit(init_netdev_exit);
MODULE_DESCRIPTION("Fault: dies in init with a network device registered");
MODULE_LICENSE("GPL");
