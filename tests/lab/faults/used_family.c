// SPDX-License-Identifier: GPL-2.0-only
/* A family of sockets, number 18, of which a process has one open, and its protocol USED. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/socket.h>
#include <net/sock.h>

static struct proto used_family_proto = {
	.name = "USED",
	.owner = THIS_MODULE,
	.obj_size = sizeof(struct sock),
};

static int used_family_release(struct socket *socket)
{
	struct sock *sk = socket->sk;

	if (sk) {
		sock_orphan(sk);
		socket->sk = NULL;
		sock_put(sk);
	}
	return 0;
}

static const struct proto_ops used_family_ops = {
	.family = PF_ASH,
	.owner = THIS_MODULE,
	.release = used_family_release,
	.bind = sock_no_bind,
	.connect = sock_no_connect,
	.socketpair = sock_no_socketpair,
	.accept = sock_no_accept,
	.getname = sock_no_getname,
	.ioctl = sock_no_ioctl,
	.listen = sock_no_listen,
	.shutdown = sock_no_shutdown,
	.sendmsg = sock_no_sendmsg,
	.recvmsg = sock_no_recvmsg,
	.mmap = sock_no_mmap,
};

static int used_family_create(struct net *net, struct socket *socket, int protocol, int kernel)
{
	struct sock *sk = sk_alloc(net, PF_ASH, GFP_KERNEL, &used_family_proto, kernel);

	if (!sk)
		return -ENOMEM;
	socket->ops = &used_family_ops;
	sock_init_data(socket, sk);
	return 0;
}

static const struct net_proto_family used_family_family = {
	.family = PF_ASH,
	.create = used_family_create,
	.owner = THIS_MODULE,
};

static int __init used_family_init(void)
{
	int error = proto_register(&used_family_proto, 0);

	if (error)
		return error;
	error = sock_register(&used_family_family);
	if (error)
		proto_unregister(&used_family_proto);
	return error;
}

static void __exit used_family_exit(void)
{
	sock_unregister(PF_ASH);
	proto_unregister(&used_family_proto);
}

module_init(used_family_init);
module_exit(used_family_exit);
MODULE_DESCRIPTION("No fault: a family of sockets of which one is open");
MODULE_LICENSE("GPL");
