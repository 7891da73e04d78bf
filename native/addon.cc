#include <napi.h>
Napi::Object init(Napi::Env, Napi::Object exports) { return exports; }
NODE_API_MODULE(birkhoff, init)
