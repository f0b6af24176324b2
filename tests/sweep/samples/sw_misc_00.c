// SPDX-License-Identifier: GPL-2.0-only
#include <linux/miscdevice.h>

#include "steps.h"
#include "text.h"

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = NAME,
	.fops = &text_fops,
};

static int make(void)
{
	return misc_register(&device);
}

static void take_back(void)
{
	misc_deregister(&device);
}

static const struct step steps[] = {
	{ make, take_back },
};

SAMPLE("a misc device");
