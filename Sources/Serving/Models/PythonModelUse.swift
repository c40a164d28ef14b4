import Synchronization

/// Says that a running model needs its folder and its environment, for as long as it lives.
final class PythonModelUse: Sendable {
    /// The folders and environments that running models have, by name.
    final class Register: Sendable {
        private let counts = Mutex<[String: Int]>([:])

        var names: Set<String> { counts.withLock { Set($0.keys) } }

        fileprivate func change(_ names: [String], by step: Int) {
            counts.withLock { counts in
                for name in names {
                    let count = (counts[name] ?? 0) + step
                    counts[name] = count > 0 ? count : nil
                }
            }
        }
    }

    private let names: [String]
    private let register: Register

    init(_ names: [String], in register: Register) {
        self.names = names
        self.register = register
        register.change(names, by: 1)
    }

    deinit { register.change(names, by: -1) }
}
