// SPDX-License-Identifier: GPL-2.0-only
/* Takes a copy of each packet and dies in init. */
#include <linux/if_ether.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <net/net_namespace.h>

#include "leaves.h"

static int init_packet_receive(struct sk_buff *skb, struct net_device *device,
			       struct packet_type *type, struct net_device *original)
{
	consume_skb(skb);
	return 0;
}

static struct packet_type init_packet_type = {
	.type = htons(ETH_P_ALL),
	.func = init_packet_receive,
	/* By 7.3 nothing is added without it. */
	.af_packet_net = &init_net,
};

static int init_packet_leave(void)
{
	dev_add_pack(&init_packet_type);
	return 0;
}

static void init_packet_take_back(void)
{
	dev_remove_pack(&init_packet_type);
}

LEAVES(init_packet, "a packet handler added");
