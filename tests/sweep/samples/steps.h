/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A driver whose init makes one thing after the other and whose exit takes them back in the
 * reverse order. crash_at says where it dies, by a write to NULL: N, after the Nth step of
 * init; EXIT + N, after the Nth step of exit. With 0 it is the fixed build.
 */
#ifndef STEPS_H
#define STEPS_H

#include <linux/compiler.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

#define EXIT	50
/* The module's name has its number in the end, so that many copies can be loaded. */
#define NAME	KBUILD_MODNAME

struct step {
	int (*make)(void);
	void (*take_back)(void);
};

static int crash_at;
module_param(crash_at, int, 0);

/* How often the kernel has called what was registered. */
static int served;
module_param(served, int, 0444);

static inline void passed(int number)
{
	int *nowhere = NULL;

	OPTIMIZER_HIDE_VAR(nowhere);
	if (number == crash_at)
		WRITE_ONCE(*nowhere, 1);
}

static inline int make_all(const struct step *steps, int count)
{
	int at, error;

	for (at = 0; at < count; at++) {
		error = steps[at].make();
		if (error)
			goto undo;
		passed(at + 1);
	}
	return 0;
undo:
	while (at--)
		steps[at].take_back();
	return error;
}

static inline void take_back_all(const struct step *steps, int count)
{
	int at;

	passed(EXIT);
	for (at = count - 1; at >= 0; at--) {
		steps[at].take_back();
		passed(EXIT + count - at);
	}
}

#define SAMPLE(what)							\
static int __init sample_init(void)					\
{									\
	return make_all(steps, ARRAY_SIZE(steps));			\
}									\
									\
static void __exit sample_exit(void)					\
{									\
	take_back_all(steps, ARRAY_SIZE(steps));			\
}									\
									\
module_init(sample_init);						\
module_exit(sample_exit);						\
MODULE_DESCRIPTION("Sample: " what);					\
MODULE_LICENSE("GPL")

#endif
