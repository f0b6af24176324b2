// SPDX-License-Identifier: GPL-2.0-only

#include "steps.h"
#include "text.h"

static int major;

static int make(void)
{
	major = register_chrdev(0, NAME, &text_fops);
	return min(major, 0);
}

static void take_back(void)
{
	unregister_chrdev(major, NAME);
}

static const struct step steps[] = {
	{ make, take_back },
};

SAMPLE("a range of character devices");
