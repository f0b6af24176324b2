// SPDX-License-Identifier: GPL-2.0-only
/* Hooks incoming IPv4 packets and dies in init. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <net/net_namespace.h>

#include "leaves.h"

static unsigned int init_netfilter_hit(void *unused, struct sk_buff *skb,
				       const struct nf_hook_state *state)
{
	return NF_ACCEPT;
}

static const struct nf_hook_ops init_netfilter_ops = {
	.hook = init_netfilter_hit,
	.pf = NFPROTO_IPV4,
	.hooknum = NF_INET_PRE_ROUTING,
	.priority = NF_IP_PRI_FIRST,
};

static int init_netfilter_leave(void)
{
	return nf_register_net_hook(&init_net, &init_netfilter_ops);
}

static void init_netfilter_take_back(void)
{
	nf_unregister_net_hook(&init_net, &init_netfilter_ops);
}

LEAVES(init_netfilter, "a netfilter hook set");
