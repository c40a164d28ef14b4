extension KeelConfiguration {
    /// Every setting for the reference, in the order of `settings`: its name, its default as it would be written, and what it does.
    public static var reference: [(key: String, standard: String, about: String)] {
        settings.map { setting in
            let standard =
                switch setting.standard {
                case .string(let text): text.isEmpty ? "none" : text
                case .int(let number): String(number)
                case .double(let number): "\(number)"
                case .bool(let flag): flag ? "true" : "false"
                case .stringArray(let texts): "[\(texts.joined(separator: ", "))]"
                default: "\(setting.standard)"
                }
            return (setting.key, standard, about[setting.key] ?? "")
        }
    }

    /// A sentence for each setting; a test names the setting that has none.
    static let about: [String: String] = [
        "home": "The folder that holds everything the server keeps.",
        "listen": "HOST:PORT. On an address that other machines can reach, the server starts only when a token exists.",
        "hosts": "Names that the `Host` header may carry besides the loopback names and the listening address.",
        "auth.required": "Whether callers on loopback need a token as well.",
        "limits.body": "Bytes of a file that is ingested.",
        "limits.artifact": "Bytes of one artifact.",
        "pipelines.steps": "Steps of pipelines that run at one time.",
        "pipelines.sandbox": "How programs of steps are kept apart from the server: `auto`, `bwrap`, `user` or `none`; docs/steps.md.",
        "pipelines.user": "The user that programs of steps run as, when the server is root; `nobody` unless given, inside the sandbox.",
        "log.level": "`trace`, `debug`, `info`, `notice`, `warning`, `error` or `critical`.",
        "webhooks.schemes": "The schemes that webhooks may have; `http` is for tests and laptops.",
        "webhooks.internal": "Whether webhooks may reach loopback and private addresses; for tests and laptops.",
        "outgoing.authorities": "A PEM file of authorities that are trusted besides the system's, in all calls that the server makes.",
    ]
}
