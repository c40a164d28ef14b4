#if canImport(Glibc)
    import Glibc
#endif

/// What the workers of a pool run, and what they may use.
public struct WorkerSpec: Sendable {
    /// How `worker.py` loads and calls what lies in the folder; that file describes the contract.
    public enum Extension: String, Sendable {
        /// A model that MLflow saved, of any flavour: `predict` of `mlflow.pyfunc`.
        case pyfunc
    }

    public var kind: Extension
    /// What the extension is loaded from, as `MaterialisedFolder` makes it.
    public var folder: MaterialisedFolder
    public var environment: PythonEnvironment
    /// How many workers there are, each a process of its own with the extension loaded.
    public var workers = 1
    /// Whether they may reach the network.
    public var hasNetwork = false
    /// What one worker may take with all that it starts: resident memory, looked at several times a second. A single process cannot allocate more
    /// than twice as much and a gibibyte.
    public var memoryBytes: Int64 = 2 << 30
    /// Processes of one worker, which are counted several times a second.
    public var processesMax = 64
    /// Processes and threads of one worker, as far as the system counts them; it then starts no more. Some libraries start a thread for each core.
    public var tasksMax = 128 + 8 * max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    /// Of `/tmp` and of shared memory in the sandbox; where there is none, of a single file.
    public var temporaryBytes: Int64 = 64 << 20
    /// Of a table, in either direction.
    public var frameBytesMax = 256 << 20
    /// Threads that numeric libraries use in one worker.
    public var threads = 1
    /// Until it has loaded the extension.
    public var startTime: Duration = .seconds(120)

    public init(_ kind: Extension, folder: MaterialisedFolder, environment: PythonEnvironment) {
        self.kind = kind
        self.folder = folder
        self.environment = environment
    }
}
