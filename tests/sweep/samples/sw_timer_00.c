// SPDX-License-Identifier: GPL-2.0-only
#include <linux/jiffies.h>
#include <linux/timer.h>

#include "steps.h"

static void tick(struct timer_list *timer)
{
	served++;
	mod_timer(timer, jiffies + HZ / 4);
}

static DEFINE_TIMER(timer, tick);

static int make(void)
{
	mod_timer(&timer, jiffies + HZ / 4);
	return 0;
}

static void take_back(void)
{
	timer_delete_sync(&timer);
}

static const struct step steps[] = {
	{ make, take_back },
};

SAMPLE("a timer that arms itself again");
