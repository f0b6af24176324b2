// SPDX-License-Identifier: GPL-2.0-only
/* Registers a protocol above IP, number 253, and dies in init. */
#include <linux/skbuff.h>
#include <net/protocol.h>
#include <linux/version.h>

#include "leaves.h"

#define NUMBER 253

static int init_inet_receive(struct sk_buff *skb)
{
	consume_skb(skb);
	return 0;
}

static const struct net_protocol init_inet_protocol = {
	.handler = init_inet_receive,
	.no_policy = 1,
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 11, 0)
	.netns_ok = 1,
#endif
};

static int init_inet_leave(void)
{
	return inet_add_protocol(&init_inet_protocol, NUMBER);
}

static void init_inet_take_back(void)
{
	inet_del_protocol(&init_inet_protocol, NUMBER);
}

LEAVES(init_inet, "a protocol above IP");
