// SPDX-License-Identifier: GPL-2.0-only
#include <linux/errno.h>
#include <linux/etherdevice.h>
#include <linux/if_ether.h>
#include <linux/jiffies.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/notifier.h>
#include <linux/skbuff.h>
#include <linux/sysctl.h>
#include <linux/version.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>

#include "steps.h"

static struct net_device *device;

static netdev_tx_t transmit(struct sk_buff *skb, struct net_device *dev)
{
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops device_ops = {
	.ndo_start_xmit = transmit,
};

static int make_device(void)
{
	int error;

	device = alloc_netdev(0, NAME, NET_NAME_UNKNOWN, ether_setup);
	if (!device)
		return -ENOMEM;
	device->netdev_ops = &device_ops;
	error = register_netdev(device);
	if (error)
		free_netdev(device);
	return error;
}

static void drop_device(void)
{
	unregister_netdev(device);
	free_netdev(device);
}

static int receive(struct sk_buff *skb, struct net_device *dev, struct packet_type *type,
		   struct net_device *original)
{
	consume_skb(skb);
	return 0;
}

static struct packet_type handler = {
	.type = htons(ETH_P_ALL),
	.func = receive,
	.af_packet_net = &init_net,
};

static int make_handler(void)
{
	dev_add_pack(&handler);
	return 0;
}

static void drop_handler(void)
{
	dev_remove_pack(&handler);
}

static unsigned int hit(void *unused, struct sk_buff *skb, const struct nf_hook_state *state)
{
	served++;
	return NF_ACCEPT;
}

static const struct nf_hook_ops hook = {
	.hook = hit,
	.pf = NFPROTO_IPV4,
	.hooknum = NF_INET_PRE_ROUTING,
	.priority = NF_IP_PRI_FIRST,
};

static int make_hook(void)
{
	return nf_register_net_hook(&init_net, &hook);
}

static void drop_hook(void)
{
	nf_unregister_net_hook(&init_net, &hook);
}

static int called(struct notifier_block *block, unsigned long event, void *data)
{
	return NOTIFY_DONE;
}

static struct notifier_block watcher = { .notifier_call = called };

static int make_watcher(void)
{
	return register_netdevice_notifier(&watcher);
}

static void drop_watcher(void)
{
	unregister_netdevice_notifier(&watcher);
}

static int value = 7;
static struct ctl_table_header *header;

static struct ctl_table table[] = {
	{
		.procname = "value",
		.data = &value,
		.maxlen = sizeof(value),
		.mode = 0644,
		.proc_handler = proc_dointvec,
	},
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
	{ }
#endif
};

static int make_sysctl(void)
{
	header = register_sysctl("net/" NAME, table);
	return header ? 0 : -ENOMEM;
}

static void drop_sysctl(void)
{
	unregister_sysctl_table(header);
}

static void later(struct work_struct *work)
{
	schedule_delayed_work(to_delayed_work(work), HZ / 4);
}

static DECLARE_DELAYED_WORK(work, later);

static int make_work(void)
{
	schedule_delayed_work(&work, HZ / 4);
	return 0;
}

static void drop_work(void)
{
	cancel_delayed_work_sync(&work);
}

static const struct step steps[] = {
	{ make_device, drop_device },
	{ make_handler, drop_handler },
	{ make_hook, drop_hook },
	{ make_watcher, drop_watcher },
	{ make_sysctl, drop_sysctl },
	{ make_work, drop_work },
};

SAMPLE("a network device, handlers of packets, a sysctl and a work");
