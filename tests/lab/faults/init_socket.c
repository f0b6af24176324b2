// SPDX-License-Identifier: GPL-2.0-only
/* Registers a family of sockets and dies in init. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/socket.h>
#include <net/sock.h>

#include "leaves.h"

static int init_socket_create(struct net *net, struct socket *sock, int protocol, int kern)
{
	return -EPROTONOSUPPORT;
}

/* AF_ECONET, whose driver is gone. */
static const struct net_proto_family init_socket_family = {
	.family = AF_ECONET,
	.create = init_socket_create,
	.owner = THIS_MODULE,
};

static int init_socket_leave(void)
{
	return sock_register(&init_socket_family);
}

static void init_socket_take_back(void)
{
	sock_unregister(AF_ECONET);
}

LEAVES(init_socket, "a socket family registered");
