// SPDX-License-Identifier: GPL-2.0-only
/* Its unload waits for ever for asynchronous work that died, without a frame of the module. */
#include <linux/async.h>
#include <linux/init.h>
#include <linux/module.h>

#include "dies.h"

static void async_died_run(void *unused, async_cookie_t cookie)
{
	dies();
}

static int __init async_died_init(void)
{
	async_schedule(async_died_run, NULL);
	return 0;
}

static void __exit async_died_exit(void)
{
}

module_init(async_died_init);
module_exit(async_died_exit);
MODULE_DESCRIPTION("Fault: asynchronous work that died");
MODULE_LICENSE("GPL");
