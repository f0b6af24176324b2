// SPDX-License-Identifier: GPL-2.0-only
#include <linux/if_ether.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <net/net_namespace.h>

#include "steps.h"

static int receive(struct sk_buff *skb, struct net_device *device, struct packet_type *type,
		   struct net_device *original)
{
	served++;
	consume_skb(skb);
	return 0;
}

static struct packet_type handler = {
	.type = htons(ETH_P_ALL),
	.func = receive,
	/* By 7.3 nothing is added without it. */
	.af_packet_net = &init_net,
};

static int make(void)
{
	dev_add_pack(&handler);
	return 0;
}

static void take_back(void)
{
	dev_remove_pack(&handler);
}

static const struct step steps[] = {
	{ make, take_back },
};

SAMPLE("a packet handler");
