// SPDX-License-Identifier: GPL-2.0-only
/* A network device that is up in the namespace of whoever loads it; it holds no reference. */
#include <linux/errno.h>
#include <linux/etherdevice.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>

static struct net_device *device;

static netdev_tx_t netns_dev_transmit(struct sk_buff *skb, struct net_device *dev)
{
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops netns_dev_ops = {
	.ndo_start_xmit = netns_dev_transmit,
};

static int __init netns_dev_init(void)
{
	int error;

	device = alloc_netdev(0, "labns%d", NET_NAME_UNKNOWN, ether_setup);
	if (!device)
		return -ENOMEM;
	device->netdev_ops = &netns_dev_ops;
	eth_hw_addr_random(device);
	dev_net_set(device, current->nsproxy->net_ns);
	rtnl_lock();
	error = register_netdevice(device);
	if (!error)
		error = dev_open(device, NULL);
	rtnl_unlock();
	return error;
}

static void __exit netns_dev_exit(void)
{
	unregister_netdev(device);
	free_netdev(device);
}

module_init(netns_dev_init);
module_exit(netns_dev_exit);
MODULE_DESCRIPTION("Fault: a network device that is up in another namespace");
MODULE_LICENSE("GPL");
