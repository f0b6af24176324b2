// SPDX-License-Identifier: GPL-2.0-only
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <net/net_namespace.h>

#include "steps.h"

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

static int make(void)
{
	return nf_register_net_hook(&init_net, &hook);
}

static void take_back(void)
{
	nf_unregister_net_hook(&init_net, &hook);
}

static const struct step steps[] = {
	{ make, take_back },
};

SAMPLE("a netfilter hook");
