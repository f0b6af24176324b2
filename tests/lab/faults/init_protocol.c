// SPDX-License-Identifier: GPL-2.0-only
/* Registers a network protocol and dies in init. */
#include <linux/init.h>
#include <linux/module.h>
#include <net/sock.h>

#include "dies.h"

static struct proto init_protocol_proto = {
	.name = "LAB",
	.owner = THIS_MODULE,
	.obj_size = sizeof(struct sock),
};

static int __init init_protocol_init(void)
{
	int error = proto_register(&init_protocol_proto, 0);

	return error ? error : dies();
}

static void __exit init_protocol_exit(void)
{
	dies_late();
	proto_unregister(&init_protocol_proto);
}

module_init(init_protocol_init);
module_exit(init_protocol_exit);
MODULE_DESCRIPTION("Fault: dies in init with a network protocol registered");
MODULE_LICENSE("GPL");
