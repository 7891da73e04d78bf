/** Small encoders and decoders. */
import type { Initializer } from "../nn/init.ts";
import { Linear } from "../nn/layers.ts";
import { Module } from "../nn/module.ts";
import { gelu, relu, tanh } from "../ops/elementwise/index.ts";
import type { Tensor } from "../tensor.ts";

const ACTIVATIONS = { relu, tanh, gelu } as const;

export interface EncoderShape {
  readonly width: number;
  readonly activation: keyof typeof ACTIVATIONS;
}

/** Widths and activations that differ: encoders that nobody would expect to have the same latents. */
export const ENCODERS: readonly EncoderShape[] = [
  { width: 64, activation: "relu" },
  { width: 64, activation: "tanh" },
  { width: 128, activation: "relu" },
  { width: 96, activation: "gelu" },
];

export const encoderName = ({ width, activation }: EncoderShape): string => `${activation} ${width}`;

/** [B, size] -> [B, latent], through one hidden layer; the latents are activations, too. */
export class Encoder extends Module {
  readonly hidden: Linear;
  readonly out: Linear;
  readonly #activation: (x: Tensor) => Tensor;

  constructor(init: Initializer, size: number, latent: number, { width, activation }: EncoderShape) {
    super();
    this.hidden = new Linear(init, size, width);
    this.out = new Linear(init, width, latent);
    this.#activation = ACTIVATIONS[activation];
  }

  forward(x: Tensor): Tensor {
    return this.#activation(this.out.forward(this.#activation(this.hidden.forward(x))));
  }
}

/** What an encoder of embeddings that exist already does. */
export class Frozen extends Module {
  forward(x: Tensor): Tensor {
    return x.detach();
  }
}

/** [B, features] -> [B, classes]. */
export class Decoder extends Module {
  readonly hidden: Linear;
  readonly out: Linear;

  constructor(init: Initializer, features: number, classes: number, width: number) {
    super();
    this.hidden = new Linear(init, features, width);
    this.out = new Linear(init, width, classes);
  }

  forward(x: Tensor): Tensor {
    return this.out.forward(relu(this.hidden.forward(x)));
  }
}
