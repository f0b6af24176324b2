// SPDX-License-Identifier: GPL-2.0-only
/* Takes three references to itself and forgets them. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>

static int __init leaked_ref_init(void)
{
#ifndef FIXED
	int i;

	for (i = 0; i < 3; i++)
		if (!try_module_get(THIS_MODULE))
			return -ENODEV;
#endif
	return 0;
}

static void __exit leaked_ref_exit(void)
{
}

module_init(leaked_ref_init);
module_exit(leaked_ref_exit);
MODULE_DESCRIPTION("Fault: leaks three references");
MODULE_LICENSE("GPL");
