// oneDNN primitives with their arguments bound, for the steps that call them.
#pragma once
#include "plan.hpp"
#include <dnnl.hpp>

namespace nm {

inline dnnl::engine &cpu() {
	static dnnl::engine e(dnnl::engine::kind::cpu, 0);
	return e;
}

inline dnnl::primitive_attr user_scratchpad() {
	dnnl::primitive_attr a;
	a.set_scratchpad_mode(dnnl::scratchpad_mode::user); // the library's own is tied to the thread that made the primitive
	return a;
}

// Call is a primitive with its arguments bound.
class Call {
  public:
	Call(nm_plan *p, const dnnl::primitive &prim, const dnnl::memory::desc &scratch, std::vector<std::pair<int, dnnl::memory>> with)
		: prim(prim), stream(cpu()), memories(std::move(with)) {
		if (scratch.get_size() > 0) memories.emplace_back(DNNL_ARG_SCRATCHPAD, dnnl::memory(scratch, cpu(), p->scratch<char>(int64_t(scratch.get_size()))));
		for (auto &[arg, m] : memories) args.push_back({arg, m.get()});
	}
	void operator()() const { dnnl_primitive_execute(prim.get(), stream.get(), int(args.size()), args.data()); }

  private:
	dnnl::primitive prim;
	dnnl::stream stream;
	std::vector<std::pair<int, dnnl::memory>> memories;
	std::vector<dnnl_exec_arg_t> args;
};

} // namespace nm
