# The addon: one static library of kernels per instruction-set level, all from the same sources, and the module itself.
#
# Inline functions of the standard library that a compiler does not inline end up as weak symbols in every object that
# uses them, and the linker keeps the first it meets. So that no code for a newer processor is ever picked for an older one,
# the module's own objects come first, then the levels from least to most demanding (gyp links `dependencies` in the order
# given): whatever a level calls out of line is taken from itself or from something less demanding. Kernels and
# simd.h live in a namespace per level and share no symbol. test/native.test.ts looks into the built module for a breach.
{
  "variables": {
    "common": ["<!@(node native/flags.mjs common)"],
    "sources": ["<!@(node native/flags.mjs sources)"],
    "kernels": ["<!@(node native/flags.mjs kernels)"],
    "napi": "<!(node -p \"require('node-addon-api').include_dir\")",
    "conditions": [
      ["target_arch=='x64'", {"levels": ["kernels_portable", "kernels_avx2", "kernels_avx512"]}],
      ["target_arch=='arm64'", {"levels": ["kernels_neon"]}],
    ],
  },
  "target_defaults": {
    "include_dirs": ["native"],
    "cflags": ["<@(common)"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20", "-fno-strict-aliasing"],
    "cflags_cc": ["-std=gnu++20"],
    "ldflags": ["-pthread"],
    "xcode_settings": {
      "CLANG_CXX_LANGUAGE_STANDARD": "gnu++20",
      "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
      "GCC_ENABLE_CPP_RTTI": "YES",
      "MACOSX_DEPLOYMENT_TARGET": "12.0",
      "OTHER_CPLUSPLUSFLAGS": ["<@(common)"],
    },
    # Vectors are an extension of GCC and Clang, so on Windows it takes Visual Studio's Clang.
    "msbuild_toolset": "ClangCL",
    "msvs_settings": {
      "VCCLCompilerTool": {
        "ExceptionHandling": 1,
        "RuntimeTypeInfo": "true",
        "LanguageStandard": "stdcpp20",
        "AdditionalOptions": ["<@(common)"],
      },
    },
  },
  "targets": [
    {
      "target_name": "birkhoff",
      "sources": ["native/addon.cc", "<@(sources)"],
      "include_dirs": ["<(napi)"],
      "conditions": [["OS=='linux'", {"ldflags": ["<!@(node native/flags.mjs runtime)"]}]],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_CPP_EXCEPTIONS_ALL"],
      "dependencies": ["<@(levels)"],
    },
    {
      # The same with the tests' kernels.
      "target_name": "birkhoff_test",
      "sources": ["native/addon.cc", "<@(sources)"],
      "include_dirs": ["<(napi)"],
      "conditions": [["OS=='linux'", {"ldflags": ["<!@(node native/flags.mjs runtime)"]}]],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_CPP_EXCEPTIONS_ALL", "BIRKHOFF_TEST"],
      "dependencies": ["<@(levels)"],
    },
    {
      # Tests without Node.
      "target_name": "driver",
      "type": "executable",
      "sources": ["<@(sources)", "<!@(node native/flags.mjs driver)"],
      "defines": ["BIRKHOFF_TEST"],
      "dependencies": ["<@(levels)"],
    },
  ],
  "conditions": [
    ["target_arch=='x64'", {
      "targets": [
        {
          "target_name": "kernels_portable",
          "type": "static_library",
          "sources": ["<@(kernels)"],
          "defines": ["BIRKHOFF_ISA=portable"],
        },
        {
          "target_name": "kernels_avx2",
          "type": "static_library",
          "sources": ["<@(kernels)"],
          "defines": ["BIRKHOFF_ISA=avx2"],
          "cflags": ["<!@(node native/flags.mjs level avx2)"],
          "xcode_settings": {"OTHER_CPLUSPLUSFLAGS": ["<!@(node native/flags.mjs level avx2)"]},
          "msvs_settings": {"VCCLCompilerTool": {"AdditionalOptions": ["<!@(node native/flags.mjs level avx2)"]}},
        },
        {
          "target_name": "kernels_avx512",
          "type": "static_library",
          "sources": ["<@(kernels)"],
          "defines": ["BIRKHOFF_ISA=avx512"],
          "cflags": ["<!@(node native/flags.mjs level avx512)"],
          "xcode_settings": {"OTHER_CPLUSPLUSFLAGS": ["<!@(node native/flags.mjs level avx512)"]},
          "msvs_settings": {"VCCLCompilerTool": {"AdditionalOptions": ["<!@(node native/flags.mjs level avx512)"]}},
        },
      ],
    }],
    ["target_arch=='arm64'", {
      "targets": [
        {
          "target_name": "kernels_neon",
          "type": "static_library",
          "sources": ["<@(kernels)"],
          "defines": ["BIRKHOFF_ISA=neon"],
        },
      ],
    }],
  ],
}
