// SPDX-License-Identifier: GPL-2.0-only
#include <linux/interrupt.h>

#include "steps.h"

/* A line that nobody else has, of the legacy controller. */
static int line = 5;
module_param(line, int, 0);

static irqreturn_t handle(int number, void *device)
{
	return IRQ_NONE;
}

static int make(void)
{
	return request_irq(line, handle, IRQF_SHARED, NAME, &line);
}

static void take_back(void)
{
	free_irq(line, &line);
}

static const struct step steps[] = {
	{ make, take_back },
};

SAMPLE("a shared interrupt");
