// SPDX-License-Identifier: GPL-2.0-only
/* A line discipline, number 28, that a pseudo terminal has. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/tty.h>
#include <linux/tty_ldisc.h>
#include <linux/version.h>

#define NUMBER 28

static int used_ldisc_open(struct tty_struct *tty)
{
	return 0;
}

static void used_ldisc_close(struct tty_struct *tty)
{
}

static struct tty_ldisc_ops used_ldisc_ops = {
	.owner = THIS_MODULE,
	.name = "used_ldisc",
	.num = NUMBER,
	.open = used_ldisc_open,
	.close = used_ldisc_close,
};

static int __init used_ldisc_init(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	return tty_register_ldisc(NUMBER, &used_ldisc_ops);
#else
	return tty_register_ldisc(&used_ldisc_ops);
#endif
}

static void __exit used_ldisc_exit(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	tty_unregister_ldisc(NUMBER);
#else
	tty_unregister_ldisc(&used_ldisc_ops);
#endif
}

module_init(used_ldisc_init);
module_exit(used_ldisc_exit);
MODULE_DESCRIPTION("No fault: a line discipline that a terminal has");
MODULE_LICENSE("GPL");
