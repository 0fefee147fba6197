// SPDX-License-Identifier: GPL-2.0

#include <linux/dma-fence.h>

#ifdef CONFIG_RUST_DMA_BUF_KUNIT_TEST
__rust_helper void rust_helper_dma_fence_put(struct dma_fence *fence)
{
	dma_fence_put(fence);
}
#endif
