"""A small latent diffusion model: autoencoder, denoiser, schedule, sampler. It knows nothing of faces."""
