// SPDX-License-Identifier: GPL-2.0-only
/* Wants to be told of each network namespace, and dies in init. */
#include <linux/init.h>
#include <linux/module.h>
#include <net/net_namespace.h>

#include "leaves.h"

static int init_pernet_begin(struct net *net)
{
	return 0;
}

static void init_pernet_end(struct net *net)
{
}

static struct pernet_operations init_pernet_ops = {
	.init = init_pernet_begin,
	.exit = init_pernet_end,
};

static int init_pernet_leave(void)
{
	return register_pernet_subsys(&init_pernet_ops);
}

static void init_pernet_take_back(void)
{
	unregister_pernet_subsys(&init_pernet_ops);
}

LEAVES(init_pernet, "network namespaces watched");
