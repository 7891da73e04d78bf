// The one file that knows Node: unpacks arguments, hands calls to the queue and brings answers back to promises.
// What TypeScript has already checked is checked here only where it could crash the process.
#include <napi.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "kernels.h"
#include "numbered.h"
#include "queue.h"

namespace {

using namespace birkhoff;

DType parseDType(const Napi::Value& value) {
  const std::string name = value.ToString();
  if (name == "float32") return DType::float32;
  if (name == "int32") return DType::int32;
  if (name == "uint32") return DType::uint32;
  if (name == "float16") return DType::float16;
  throw std::invalid_argument("unknown dtype " + name);
}

std::vector<Tensor> parseSpecs(const Napi::Value& value) {
  std::vector<Tensor> tensors;
  const Napi::Array specs = value.As<Napi::Array>();
  for (uint32_t i = 0; i < specs.Length(); i++) {
    const Napi::Object spec = specs.Get(i).As<Napi::Object>();
    const Napi::Array shape = spec.Get("shape").As<Napi::Array>();
    Tensor tensor;
    tensor.dtype = parseDType(spec.Get("dtype"));
    tensor.size = 1;
    for (uint32_t axis = 0; axis < shape.Length(); axis++) {
      tensor.shape.push_back(shape.Get(axis).ToNumber().Int64Value());
      tensor.size *= tensor.shape.back();
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

Attr parseAttr(const std::string& name, const Napi::Value& value) {
  if (value.IsNumber()) return value.ToNumber().DoubleValue();
  if (value.IsBoolean()) return value.ToBoolean().Value();
  if (value.IsString()) return value.ToString().Utf8Value();
  if (!value.IsArray()) throw std::invalid_argument("attribute `" + name + "` is no number, boolean, string or array");
  const Napi::Array array = value.As<Napi::Array>();
  std::vector<int64_t> integers;
  for (uint32_t i = 0; i < array.Length(); i++) {
    const double item = array.Get(i).ToNumber();
    if (item != std::trunc(item))
      throw std::invalid_argument("attribute `" + name + "` holds a number that is no integer");
    integers.push_back(static_cast<int64_t>(item));
  }
  return integers;
}

class Device;

// A promise that waits for the queue, and the array that the queue fills meanwhile. Nobody else sees that array before.
struct Answer {
  Device* device;
  Napi::Promise::Deferred deferred;
  Napi::ObjectReference values;
  Outcome outcome;
  bool closes = false;
};

void deliver(Napi::Env env, Napi::Function, std::nullptr_t*, Answer* answer);
using Channel = Napi::TypedThreadSafeFunction<std::nullptr_t, Answer, deliver>;

struct Slot {
  std::shared_ptr<Block> block;
  size_t bytes = 0;
};

class Device : public Napi::ObjectWrap<Device> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Device",
                       {InstanceMethod("has", &Device::has), InstanceMethod("frame", &Device::frame),
                        InstanceMethod("prepare", &Device::prepare), InstanceMethod("release", &Device::release),
                        InstanceMethod("run", &Device::run), InstanceMethod("alloc", &Device::alloc),
                        InstanceMethod("free", &Device::free), InstanceMethod("write", &Device::write),
                        InstanceMethod("read", &Device::read), InstanceMethod("synchronize", &Device::synchronize),
                        InstanceMethod("counters", &Device::counters), InstanceMethod("close", &Device::close)});
  }

  // new Device(level, threads, memory limit in bytes)
  explicit Device(const Napi::CallbackInfo& info)
      : ObjectWrap(info), memory_(static_cast<size_t>(info[2].ToNumber().DoubleValue())) {
    const std::string wanted = info[0].ToString();
    for (const Level& level : availableLevels()) {
      if (wanted == level.name) level_ = level;
    }
    if (level_.tables.empty()) throw std::invalid_argument("this processor or build has no level " + wanted);
    const int threads = std::clamp(info[1].ToNumber().Int32Value(), 1, 1024);
    channel_ = Channel::New(info.Env(), "birkhoff", 0, 1, nullptr);
    // An idle device does not keep the process alive; a pending answer does.
    channel_.Unref(info.Env());
    try {
      queue_ = std::make_unique<Queue>(threads, memory_);
    } catch (...) {
      channel_.Release();
      throw;
    }
    // Registered after the channel's own hook, and so run before it.
    napi_add_env_cleanup_hook(info.Env(), shutDown, this);
    open_ = true;
  }

  ~Device() override { end(); }

  // The answer to one request, on JavaScript's thread.
  void settle(Napi::Env env, Answer& answer) {
    if (answer.closes) {
      end();
      memory_.trim();
      answer.deferred.Resolve(env.Undefined());
    } else {
      Napi::Object result = Napi::Object::New(env);
      if (!answer.values.IsEmpty()) result.Set("values", answer.values.Value());
      static const char* const kinds[] = {"ok", "fault", "outOfMemory", "failed", "dropped"};
      result.Set("outcome", kinds[static_cast<int>(answer.outcome.kind)]);
      result.Set("message", answer.outcome.message);
      result.Set("value", answer.outcome.value);
      answer.deferred.Resolve(result);
    }
    if (--waiting_ == 0) {
      if (open_) channel_.Unref(env);
      Unref();
    }
  }

 private:
  static void shutDown(void* device) { static_cast<Device*>(device)->end(); }

  // Ends the threads and never touches the channel again. The environment may be going down.
  void end() {
    if (!open_) return;
    open_ = false;
    queue_->stop();
    channel_.Release();
    napi_remove_env_cleanup_hook(Env(), shutDown, this);
  }

  void assertOpen() const {
    if (!open_ || closing_) throw std::logic_error("the device is closed");
  }

  Slot& slot(double id) {
    Slot* found = slots_.find(id);
    if (!found) throw std::invalid_argument("no such buffer");
    return *found;
  }

  // frame(length) -> the Float64Array in which run() finds what it is to do, in place of the one before
  Napi::Value frame(const Napi::CallbackInfo& info) {
    const auto array = Napi::Float64Array::New(info.Env(), info[0].ToNumber().Uint32Value());
    frame_ = Napi::Persistent(array);
    values_ = array.Data();
    places_ = array.ElementLength();
    return array;
  }

  // has(op): whether this level has a kernel of that name
  Napi::Value has(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), level_.find(info[0].ToString().Utf8Value()) != nullptr);
  }

  // prepare(op, inputs, outputs, attrs, scalar names, fault message, library?, symbol?) -> the call's number
  Napi::Value prepare(const Napi::CallbackInfo& info) {
    auto prepared = std::make_shared<Prepared>();
    prepared->op = info[0].ToString();
    if (info[6].IsString()) {
      prepared->foreign = loadForeign(info[6].ToString(), info[7].ToString());
    } else {
      prepared->kernel = level_.find(prepared->op);
      if (!prepared->kernel) throw std::invalid_argument("no kernel named " + prepared->op);
    }
    prepared->call.inputs = parseSpecs(info[1]);
    prepared->call.outputs = parseSpecs(info[2]);
    const Napi::Object attrs = info[3].As<Napi::Object>();
    const Napi::Array names = attrs.GetPropertyNames();
    for (uint32_t i = 0; i < names.Length(); i++) {
      const std::string name = names.Get(i).ToString();
      prepared->call.attrs.emplace_back(name, parseAttr(name, attrs.Get(name)));
    }
    const Napi::Array scalars = info[4].As<Napi::Array>();
    for (uint32_t i = 0; i < scalars.Length(); i++) prepared->call.scalarNames.push_back(scalars.Get(i).ToString());
    prepared->faultMessage = info[5].ToString();
    return Napi::Number::New(info.Env(), prepared_.add(std::move(prepared)));
  }

  // release(call)
  Napi::Value release(const Napi::CallbackInfo& info) {
    const double call = info[0].ToNumber();
    if (!prepared_.find(call)) throw std::invalid_argument("no such call");
    prepared_.remove(call);
    return info.Env().Undefined();
  }

  // run(): in the frame, the call's number, its operands' buffers, inputs first, and then the scalars
  Napi::Value run(const Napi::CallbackInfo& info) {
    assertOpen();
    const std::shared_ptr<Prepared>* found = places_ > 0 ? prepared_.find(values_[0]) : nullptr;
    if (!found) throw std::invalid_argument("not a prepared call");
    std::shared_ptr<Prepared> prepared = *found;
    const Call& call = prepared->call;
    const size_t operands = call.inputs.size() + call.outputs.size();
    if (places_ < 1 + operands + call.scalarNames.size())
      throw std::invalid_argument("too short a frame for " + prepared->op);
    const double* values = values_ + 1;
    std::vector<std::shared_ptr<Block>> blocks;
    blocks.reserve(operands);
    for (size_t i = 0; i < operands; i++) {
      const Tensor& tensor = i < call.inputs.size() ? call.inputs[i] : call.outputs[i - call.inputs.size()];
      const Slot& operand = slot(values[i]);
      if (operand.bytes < static_cast<size_t>(tensor.bytes()))
        throw std::invalid_argument("too small a buffer for " + prepared->op);
      blocks.push_back(operand.block);
    }
    queue_->run(std::move(prepared), std::move(blocks),
                std::vector<double>(values + operands, values + operands + call.scalarNames.size()));
    dispatches_++;
    return info.Env().Undefined();
  }

  // alloc(bytes) -> the buffer's number, or -1 when there is no memory
  Napi::Value alloc(const Napi::CallbackInfo& info) {
    assertOpen();
    const double bytes = info[0].ToNumber();
    // 2^53: beyond it a double is no byte count.
    if (!(bytes >= 0 && bytes < 9007199254740992.0)) throw std::invalid_argument("not a size");
    std::shared_ptr<Block> block = memory_.take(static_cast<size_t>(bytes));
    // What queued calls and work areas still hold comes back when they have run.
    if (!block && bytes <= static_cast<double>(memory_.budget()->limit())) {
      queue_->drain();
      block = memory_.take(static_cast<size_t>(bytes));
    }
    if (!block) return Napi::Number::New(info.Env(), -1);
    return Napi::Number::New(info.Env(), slots_.add({std::move(block), static_cast<size_t>(bytes)}));
  }

  // free(buffer)
  Napi::Value free(const Napi::CallbackInfo& info) {
    assertOpen();
    const double id = info[0].ToNumber();
    memory_.put(std::move(slot(id).block));
    slots_.remove(id);
    return info.Env().Undefined();
  }

  // write(buffer, typed array)
  Napi::Value write(const Napi::CallbackInfo& info) {
    assertOpen();
    const Slot& target = slot(info[0].ToNumber());
    if (!info[1].IsTypedArray()) throw std::invalid_argument("not a typed array");
    const auto values = info[1].As<Napi::Uint8Array>();
    if (values.ByteLength() != target.bytes) throw std::invalid_argument("wrong number of values");
    queue_->write(target.block, values.Data(), target.bytes);
    return info.Env().Undefined();
  }

  // read(buffer, dtype) -> a promise of { values, outcome, message, value }
  Napi::Value read(const Napi::CallbackInfo& info) {
    assertOpen();
    const Slot& source = slot(info[0].ToNumber());
    const Napi::Env env = info.Env();
    const Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, source.bytes);
    const DType dtype = parseDType(info[1]);
    const size_t length = source.bytes / static_cast<size_t>(bytesOf(dtype));
    Napi::Object values;
    switch (dtype) {
      case DType::float32:
        values = Napi::Float32Array::New(env, length, buffer, 0);
        break;
      case DType::int32:
        values = Napi::Int32Array::New(env, length, buffer, 0);
        break;
      case DType::uint32:
        values = Napi::Uint32Array::New(env, length, buffer, 0);
        break;
      case DType::float16:
        values = Napi::Uint16Array::New(env, length, buffer, 0);
        break;
    }
    Answer* answer = expect(env);
    answer->values = Napi::Persistent(values);
    const Napi::Value promise = answer->deferred.Promise();
    queue_->read(source.block, const_cast<Napi::ArrayBuffer&>(buffer).Data(), source.bytes, sender(answer));
    return promise;
  }

  // synchronize() -> a promise as read() gives, without values
  Napi::Value synchronize(const Napi::CallbackInfo& info) {
    assertOpen();
    Answer* answer = expect(info.Env());
    const Napi::Value promise = answer->deferred.Promise();
    queue_->synchronize(sender(answer));
    return promise;
  }

  Napi::Value counters(const Napi::CallbackInfo& info) {
    Napi::Object counters = Napi::Object::New(info.Env());
    counters.Set("dispatches", static_cast<double>(dispatches_));
    counters.Set("submits", 0);
    counters.Set("allocations", static_cast<double>(memory_.allocations()));
    counters.Set("liveBuffers", static_cast<double>(slots_.count()));
    counters.Set("liveBytes", static_cast<double>(memory_.liveBytes()));
    counters.Set("pooledBytes", static_cast<double>(memory_.pooledBytes()));
    return counters;
  }

  // close() -> a promise; reads asked for before are answered
  Napi::Value close(const Napi::CallbackInfo& info) {
    assertOpen();
    closing_ = true;
    slots_.clear([this](Slot& slot) { memory_.put(std::move(slot.block)); });
    Answer* answer = expect(info.Env());
    answer->closes = true;
    const Napi::Value promise = answer->deferred.Promise();
    queue_->close([channel = channel_, answer] { channel.NonBlockingCall(answer); });
    return promise;
  }

  Answer* expect(Napi::Env env) {
    auto* answer = new Answer{this, Napi::Promise::Deferred::New(env), {}, {}};
    if (waiting_++ == 0) {
      channel_.Ref(env);
      Ref();
    }
    return answer;
  }

  Queue::Done sender(Answer* answer) {
    return [channel = channel_, answer](Outcome outcome) {
      answer->outcome = std::move(outcome);
      channel.NonBlockingCall(answer);
    };
  }

  Level level_;
  MemoryPool memory_;  // before the queue, which uses it to its end
  Channel channel_;
  std::unique_ptr<Queue> queue_;
  bool open_ = false, closing_ = false;
  int64_t waiting_ = 0;
  uint64_t dispatches_ = 0;
  Numbered<Slot> slots_;
  Numbered<std::shared_ptr<Prepared>> prepared_;
  Napi::Reference<Napi::Float64Array> frame_;
  const double* values_ = nullptr;  // the frame's
  size_t places_ = 0;
};

void deliver(Napi::Env env, Napi::Function, std::nullptr_t*, Answer* answer) {
  if (env == nullptr) {
    // The environment is going down and takes its references along.
    answer->values.SuppressDestruct();
  } else {
    const Napi::HandleScope scope(env);
    answer->device->settle(env, *answer);
  }
  delete answer;
}

// levels() -> names of the levels that this processor can run, best first
Napi::Value levels(const Napi::CallbackInfo& info) {
  Napi::Array names = Napi::Array::New(info.Env());
  for (const Level& level : availableLevels()) names.Set(names.Length(), level.name);
  return names;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("Device", Device::define(env));
  exports.Set("levels", Napi::Function::New(env, levels));
  return exports;
}

}  // namespace

NODE_API_MODULE(birkhoff, init)
