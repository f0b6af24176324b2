// SPDX-License-Identifier: GPL-2.0-only
/*
 * One translation unit, as kernel/sched/build_policy.c is one: the headers take
 * far longer than the code, and hosts on which this is built may be slow.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "loader.c"
#include "code.c"
#include "look.c"
#include "park.c"
#include "undo_devices.c"
#include "undo_kinds.c"
#include "undo.c"
#include "main.c"
