// SPDX-License-Identifier: GPL-2.0-only
/* A line discipline, number 29, that names no owner and that a pseudo terminal has. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/tty.h>
#include <linux/tty_ldisc.h>
#include <linux/version.h>

#define NUMBER 29

static int ldisc_unowned_open(struct tty_struct *tty)
{
	return 0;
}

static void ldisc_unowned_close(struct tty_struct *tty)
{
}

static struct tty_ldisc_ops ldisc_unowned_ops = {
	.name = "ldisc_unowned",
	.num = NUMBER,
	.open = ldisc_unowned_open,
	.close = ldisc_unowned_close,
};

static int __init ldisc_unowned_init(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	return tty_register_ldisc(NUMBER, &ldisc_unowned_ops);
#else
	return tty_register_ldisc(&ldisc_unowned_ops);
#endif
}

static void __exit ldisc_unowned_exit(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	tty_unregister_ldisc(NUMBER);
#else
	tty_unregister_ldisc(&ldisc_unowned_ops);
#endif
}

module_init(ldisc_unowned_init);
module_exit(ldisc_unowned_exit);
MODULE_DESCRIPTION("Fault: a line discipline without owner, in use");
MODULE_LICENSE("GPL");
