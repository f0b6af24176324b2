// SPDX-License-Identifier: GPL-2.0-only
/* Registers a generic netlink family and dies in init. */
#include <linux/init.h>
#include <linux/module.h>
#include <net/genetlink.h>

#include "leaves.h"

static int init_genl_do(struct sk_buff *skb, struct genl_info *info)
{
	return 0;
}

static const struct genl_ops init_genl_ops[] = {
	{ .cmd = 1, .doit = init_genl_do },
};

static struct genl_family init_genl_family = {
	.name = "lab_genl",
	.version = 1,
	.module = THIS_MODULE,
	.ops = init_genl_ops,
	.n_ops = ARRAY_SIZE(init_genl_ops),
};

static int init_genl_leave(void)
{
	return genl_register_family(&init_genl_family);
}

static void init_genl_take_back(void)
{
	genl_unregister_family(&init_genl_family);
}

LEAVES(init_genl, "a generic netlink family registered");
