// SPDX-License-Identifier: GPL-2.0-only
/* A hash algorithm, used_hash, that a process has by a socket of AF_ALG. */
#include <crypto/internal/hash.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/string.h>

static int used_hash_start(struct shash_desc *desc)
{
	return 0;
}

static int used_hash_update(struct shash_desc *desc, const u8 *data, unsigned int size)
{
	return 0;
}

static int used_hash_final(struct shash_desc *desc, u8 *out)
{
	memset(out, 42, 4);
	return 0;
}

static struct shash_alg used_hash_alg = {
	.init = used_hash_start,
	.update = used_hash_update,
	.final = used_hash_final,
	.digestsize = 4,
	.base = {
		.cra_name = "used_hash",
		.cra_driver_name = "used_hash-lab",
		.cra_blocksize = 1,
		.cra_module = THIS_MODULE,
	},
};

static int __init used_hash_init(void)
{
	return crypto_register_shash(&used_hash_alg);
}

static void __exit used_hash_exit(void)
{
	crypto_unregister_shash(&used_hash_alg);
}

module_init(used_hash_init);
module_exit(used_hash_exit);
MODULE_DESCRIPTION("No fault: a hash algorithm that a process has");
MODULE_LICENSE("GPL");
