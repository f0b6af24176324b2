// SPDX-License-Identifier: GPL-2.0-only
/* Registers a type of network link, init_link, and dies in init. */
#include <linux/errno.h>
#include <linux/etherdevice.h>
#include <linux/netdevice.h>
#include <net/rtnetlink.h>

#include "leaves.h"

static int init_link_validate(struct nlattr *attributes[], struct nlattr *data[],
			      struct netlink_ext_ack *said)
{
	return -EOPNOTSUPP;
}

static struct rtnl_link_ops init_link_ops = {
	.kind = "init_link",
	.setup = ether_setup,
	.validate = init_link_validate,
};

static int init_link_leave(void)
{
	return rtnl_link_register(&init_link_ops);
}

static void init_link_take_back(void)
{
	rtnl_link_unregister(&init_link_ops);
}

LEAVES(init_link, "a type of network link");
